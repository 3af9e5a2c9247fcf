"""Images in class folders: finding, dividing and decoding them."""
