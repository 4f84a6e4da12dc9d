"""What becomes of the files that runs name: copied into a folder or a bucket, or their arrays into Zarr."""
