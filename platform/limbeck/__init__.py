"""limbeck distils big text classifiers into small ones by adversarial methods, and shows which part earns its keep."""

__version__ = "0.1.0"
