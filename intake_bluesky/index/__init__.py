"""Search in SQL, and the SQLite file that makes folders of files searchable."""
