"""The web page and the JSON end point of a bundle."""
