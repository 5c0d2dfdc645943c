"""Starting, watching and stopping servers on this machine: processes, files and nothing else."""
