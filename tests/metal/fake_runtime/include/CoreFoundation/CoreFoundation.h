#pragma once

#include <TargetConditionals.h>

#include <math.h>
#include <stdint.h>

typedef double CFTimeInterval;
