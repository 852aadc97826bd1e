"""Model files, GGUF and `.axiom` images: opened, checked, and never believed before.

open_file      a file that stays open, and stretches of it
gguf_types     how weights are stored, by the numbers of GGUF
gguf_cursor    the values of a header, read one after another
gguf_header    the header of one file
gguf_file      a GGUF, in one file or in parts
image_file     an image: the same header, and weights in the order in which they are computed
model_file     either of the two, by what it begins with
metadata       values of a header by their keys, with their types
architectures  which keys and tensors a family of models has
model_config   from a header to checked numbers and a checked list of tensors
tensor_source  tensors as engines take them
"""
