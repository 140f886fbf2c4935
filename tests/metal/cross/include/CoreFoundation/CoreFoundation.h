// What metal-cpp uses of Apple's headers that zig has not: not Apple's text.
#pragma once

#include <TargetConditionals.h>

#include <math.h>
#include <stdint.h>

typedef double CFTimeInterval;
