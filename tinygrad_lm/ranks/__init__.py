"""Training by several processes, the ranks of an MPI program: who they are, and how their gradients
become one, bit for bit as in one process."""
