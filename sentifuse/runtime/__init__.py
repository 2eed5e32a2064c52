"""The process: how one starts, its threads, memory, devices, arithmetic and files."""
