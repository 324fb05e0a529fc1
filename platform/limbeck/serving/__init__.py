"""A model behind HTTP on Ray Serve. `server.served` is the way in."""
