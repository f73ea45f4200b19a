"""Every script on a real server."""
