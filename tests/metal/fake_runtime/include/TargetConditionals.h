// Written for these tests, as every header in this folder: the names that metal-cpp uses, and nothing else.
#pragma once

#define TARGET_OS_OSX 1
#define TARGET_OS_MAC 1
#define TARGET_OS_IPHONE 0
#define TARGET_OS_VISION 0
#define __MAC_OS_X_VERSION_MIN_REQUIRED 140000
