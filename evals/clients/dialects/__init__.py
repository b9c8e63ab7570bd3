"""One module for each dialect: `read` a request or refuse it, write the answer `whole` or as a `stream`, write an error."""
