"""The types of settings by part of a deployment, with bounds and descriptions; `offtake.settings` has the names."""
