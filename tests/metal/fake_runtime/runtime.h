// Objective-C as far as metal-cpp needs it: classes, messages, reference counts, autorelease pools.
#pragma once

#include <atomic>
#include <cstddef>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include <objc/runtime.h>

namespace fake_metal {

struct Settings;
class ClassObject;

using Method = void (*)();
using Methods = std::unordered_map<std::string, Method>;

// Objects are passed around by this address, so they derive from nothing else first.
class Object {
 public:
  explicit Object(const std::string& class_name);
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;

  const ClassObject* is_a() const { return is_a_; }
  void retain() { ++references_; }
  void release();
  long references() const { return references_; }
  // A reference that Metal would not have: if only such are left, it would use an object that is gone, which is a
  // fault.
  void borrow();
  void give_back();

  // More of what every object is sent.
  Object* retain_self();
  Object* autorelease_self();
  Object* init() { return this; }
  bool is_equal(Object* other) const { return this == other; }
  bool responds_to(SEL selector) const;
  Object* signature(SEL) const { return nullptr; }

  // Memory is used again late, so that a message to an object that is gone is noticed.
  static void* operator new(size_t bytes);
  static void operator delete(void* memory);

 protected:
  explicit Object(const ClassObject* is_a);  // lives forever and is not counted
  virtual ~Object();

 private:
  const ClassObject* is_a_;
  std::atomic<long> references_ = 1, borrowed_ = 0;
  std::atomic<bool> is_released_early_ = false;
};

class ClassObject : public Object {
 public:
  ClassObject(std::string name, const ClassObject* meta);

  std::string name;
  Methods methods;
};

struct ClassMethods {
  Methods of_class;
  Methods of_instances;
};
// By the name of a class; "NSObject" is everyone's.
using MethodTable = std::unordered_map<std::string, ClassMethods>;
void add_foundation(MethodTable& table);
void add_metal(MethodTable& table);
void add_commands(MethodTable& table);

// A message's function from a member function, or, for messages to a class, from a free one.
template <auto kFunction, class Type = decltype(kFunction)>
struct Message;
template <auto kFunction, class Self, class Result, class... Arguments>
struct Message<kFunction, Result (Self::*)(Arguments...)> {
  static Result send(Self* self, SEL, Arguments... arguments) { return (self->*kFunction)(arguments...); }
};
template <auto kFunction, class Self, class Result, class... Arguments>
struct Message<kFunction, Result (Self::*)(Arguments...) const> {
  static Result send(const Self* self, SEL, Arguments... arguments) { return (self->*kFunction)(arguments...); }
};
template <auto kFunction, class Result, class... Arguments>
struct Message<kFunction, Result (*)(Arguments...)> {
  static Result send(Object*, SEL, Arguments... arguments) { return kFunction(arguments...); }
};
template <auto kFunction>
const Method kMethod = reinterpret_cast<Method>(&Message<kFunction>::send);

template <class T>
Object* allocate() {
  return new T;
}

// Whoever forgets to release it does not leak it.
void keep_forever(Object* object);
Object* autorelease(Object* object);
template <class T>
T* autoreleased(T* object) {
  autorelease(object);
  return object;
}

void fault(const std::string& what);
// Those of `configure`.
const Settings& settings();
// While a queue's thread has objects in its hands, they are not counted as live.
void begin_work();
void end_work();

// A reference.
template <class T>
class Ref {
 public:
  Ref() = default;
  explicit Ref(T* object) : object_(object) {
    if (object_) object_->retain();
  }
  Ref(const Ref& other) : Ref(other.object_) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_) object_->release();
  }
  // Takes over the reference that `new` gives.
  static Ref of_new(T* object) {
    Ref ref;
    ref.object_ = object;
    return ref;
  }

  T* get() const { return object_; }
  T* operator->() const { return object_; }
  T& operator*() const { return *object_; }
  explicit operator bool() const { return object_ != nullptr; }

 private:
  T* object_ = nullptr;
};

// Of the thread that makes it.
class AutoreleasePool : public Object {
 public:
  AutoreleasePool();
  ~AutoreleasePool() override;
  void drain() { release(); }
};

}  // namespace fake_metal
