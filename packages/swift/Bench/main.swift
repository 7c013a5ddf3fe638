import LiterLlm

print("see scripts/bench")
