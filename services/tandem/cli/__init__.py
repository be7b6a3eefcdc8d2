"""The command `tandem`: its parts read settings and files, ask the running platform and print. Every part is imported when called."""
