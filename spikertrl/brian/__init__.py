"""Brian2 at both ends: ``read`` makes a Brian2 network trainable, ``write`` takes any network to Brian2."""
