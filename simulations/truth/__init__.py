"""How true the simulator is, against queueing theory and measured serving data.

`python -m simulations.truth` measures it and prints one table.
"""
