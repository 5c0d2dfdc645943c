"""The program on a GPU host: it samples, supervises llama-servers and speaks to the panel over one outbound socket."""
