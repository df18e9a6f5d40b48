"""The page that `portrait-anim demo` opens; installed as the package `portrait_anim_demo`."""
