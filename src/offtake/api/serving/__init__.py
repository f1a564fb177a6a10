"""The web server around the application: which connections and requests get as far as it."""
