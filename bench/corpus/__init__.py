"""Whether files of any folder come in and go out with every value as it was: `python -m bench.corpus FOLDER`."""
