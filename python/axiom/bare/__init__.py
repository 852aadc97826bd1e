"""The bare body from outside: finding the kernel, starting it in a virtual machine, making images that boot.

The kernel itself is in `bootkernel/`; `docs/bare.md` says how it boots and what it prints.
"""
