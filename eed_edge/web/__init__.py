"""A page that runs a bundle in the browser: a folder of static files, or a server on this machine alone."""
