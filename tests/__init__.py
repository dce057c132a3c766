"""limen's tests. A package with a file of its own: other distributions install a package of this name, too."""
