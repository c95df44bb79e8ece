"""`aegis demo`: an agent that is killed in the middle, and what the store has to show for it.

command   the verb: options, exit code
story     what happens, in order, and what came out
show      the same for people, as it happens
lives     the agent as a process: started, listened to, killed
agent     what that process runs
tasks     what the agent works on, and what its state must be after each step
checks    what was promised, compared with what is there
damage    one byte changed in a copy, and what the store says to that
machine   the file system it all lies on, and what a sync costs there
"""

from __future__ import annotations
