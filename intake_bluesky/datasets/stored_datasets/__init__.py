"""Any `xarray.Dataset` as a stream of documents, from which it reads back identical."""
