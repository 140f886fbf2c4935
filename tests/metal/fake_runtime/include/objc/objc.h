#pragma once

struct objc_class;
struct objc_object {};
struct objc_selector;
typedef struct objc_class* Class;
typedef struct objc_object* id;
typedef struct objc_object Protocol;
typedef const struct objc_selector* SEL;
