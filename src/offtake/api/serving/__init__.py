"""The web server around the application: limits on connections and requests, and trusted proxies."""
