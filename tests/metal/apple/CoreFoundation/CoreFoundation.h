// What metal-cpp uses of Apple's headers, for systems without them: not Apple's text.
#pragma once

#include <TargetConditionals.h>

#include <math.h>
#include <stdint.h>

typedef double CFTimeInterval;
