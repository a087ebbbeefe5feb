"""Every tolerance of the tests, by name, with its reason. Relative to the largest entry of a block unless said otherwise."""

# The same sums of some hundred float64 terms in another order differ by 1e-15 to 1e-13; a wrong term by 1e-3 and more.
EXACT64 = 1e-10
# The same in float32, where one rounding is 6e-8 and a few dozen steps multiply it.
EXACT32 = 1e-4
# Values (not gradients) of one trajectory computed along two roads in float64: no long sums, no cancellation.
VALUES64 = 1e-12
# The same in float32, two dozen steps of it: a rounding is 6e-8.
VALUES32 = 1e-6
# A gradient counts as alive when its norm is above this: losses are of order 1 and a dead one gives 0.
ALIVE = 1e-3
# A knob counts as moving the result when it changes the gradient by more than this share.
MOVED = 1e-3
# Central differences in float64 with a step of 1e-5: rounding 1e-11 over the step, plus the second-order term.
DIFFERENCES = 1e-6
# One step from the same state: a dozen roundings of 1e-16, relative to the largest value of the variable.
ONE_STEP = 2e-15
# Rounding in every step, as a multiple of what a single last place at the start has grown to.
EVERY_STEP = 10
