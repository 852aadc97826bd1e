# Read as llama.cpp's project starts: leaves out the library that only its command-line tools use.
set(LLAMA_BUILD_COMMON OFF)
