"""What a process counts and traces about itself. Importing it loads no library for either."""
