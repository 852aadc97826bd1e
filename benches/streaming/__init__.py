"""Models larger than memory: axiom's streaming and llama.cpp's memory map, in a control group of one size."""
