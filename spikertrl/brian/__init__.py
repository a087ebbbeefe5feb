"""Brian2 at both ends: ``importing`` makes a Brian2 network trainable, ``exporting`` takes any network to Brian2."""
