"""`python -m portrait_anim.cli`, for launchers such as `accelerate launch -m portrait_anim.cli train gpu`."""

from portrait_anim.cli import main

main()
