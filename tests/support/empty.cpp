// Nothing: the library of test support needs one source to precompile its header for.
