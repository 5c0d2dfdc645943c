"""Decides where models should live and how to get there safely: values in, values out."""
