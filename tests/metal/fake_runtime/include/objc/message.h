#pragma once

#include <objc/objc.h>

// Called through a pointer of the method's type.
extern "C" {
void objc_msgSend();
void objc_msgSend_stret();
void objc_msgSend_fpret();
}
