"""Files of tables in object stores and folders, opened with the credentials of their catalog and nothing else."""
