"""Tables of other catalogs, in an object store: how fast they are planned and exported."""
