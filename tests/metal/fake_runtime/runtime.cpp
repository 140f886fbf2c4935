#include "runtime.h"

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <mutex>
#include <set>
#include <vector>

#include "fake_metal.h"

#if !defined(__x86_64__)
#error "objc_msgSend is written for x86-64; metal-cpp knows other processors on Apple's systems alone"
#endif

namespace fake_metal {
namespace {

// Lives until the very end: objects are released by destructors of other files.
struct Runtime {
  std::recursive_mutex mutex;
  std::set<std::string> selectors;
  std::unordered_map<std::string, ClassObject*> classes;
  std::unordered_map<const void*, const ClassObject*> live;
  std::unordered_map<const void*, const ClassObject*> gone;
  std::deque<void*> unused;
  std::vector<std::string> faults;
  std::condition_variable_any idle;
  int working = 0;
};

void fail_with_faults();

Runtime& runtime() {
  static Runtime* const instance = [] {
    std::atexit(fail_with_faults);
    return new Runtime;
  }();
  return *instance;
}

void fail_with_faults() {
  const std::lock_guard lock(runtime().mutex);
  if (runtime().faults.empty()) return;
  std::fprintf(stderr, "fake Metal: %zu faults were not looked at\n", runtime().faults.size());
  std::_Exit(1);
}

constexpr size_t kUnused = 4096;

const MethodTable& method_table() {
  static const MethodTable* const table = [] {
    auto* methods = new MethodTable;
    add_foundation(*methods);
    add_metal(*methods);
    add_commands(*methods);
    return methods;
  }();
  return *table;
}

ClassObject* class_named(const std::string& name) {
  const std::lock_guard lock(runtime().mutex);
  ClassObject*& found = runtime().classes[name];
  if (!found) {
    auto* meta = new ClassObject(name, nullptr);
    found = new ClassObject(name, meta);
    const auto methods = method_table().find(name);
    if (methods != method_table().end()) {
      meta->methods = methods->second.of_class;
      found->methods = methods->second.of_instances;
    }
  }
  return found;
}

const Method* find(const ClassObject* of, const std::string& selector) {
  for (const ClassObject* where : {of, static_cast<const ClassObject*>(class_named("NSObject"))}) {
    const auto found = where->methods.find(selector);
    if (found != where->methods.end()) return &found->second;
  }
  return nullptr;
}

uint64_t nothing() { return 0; }

thread_local std::vector<AutoreleasePool*> pools;
thread_local std::vector<std::pair<AutoreleasePool*, Object*>> autoreleased_objects;

}  // namespace

void fault(const std::string& what) {
  std::fprintf(stderr, "fake Metal: %s\n", what.c_str());
  const std::lock_guard lock(runtime().mutex);
  runtime().faults.push_back(what);
}

std::vector<std::string> take_faults() {
  const std::lock_guard lock(runtime().mutex);
  return std::exchange(runtime().faults, {});
}

void begin_work() {
  const std::lock_guard lock(runtime().mutex);
  ++runtime().working;
}

void end_work() {
  const std::lock_guard lock(runtime().mutex);
  --runtime().working;
  runtime().idle.notify_all();
}

size_t live_objects() {
  std::unique_lock lock(runtime().mutex);
  runtime().idle.wait(lock, [] { return runtime().working == 0; });
  return runtime().live.size();
}

size_t live_objects(const std::string& class_name) {
  std::unique_lock lock(runtime().mutex);
  runtime().idle.wait(lock, [] { return runtime().working == 0; });
  size_t count = 0;
  for (const auto& [object, is_a] : runtime().live) count += is_a->name == class_name;
  return count;
}

Object::Object(const std::string& class_name) : is_a_(class_named(class_name)) {
  const std::lock_guard lock(runtime().mutex);
  runtime().live[this] = is_a_;
}

Object::Object(const ClassObject* is_a) : is_a_(is_a) {}

Object::~Object() = default;

void Object::borrow() {
  retain();
  ++borrowed_;
}

void Object::give_back() {
  --borrowed_;
  release();
}

void Object::release() {
  const long left = --references_;
  if (left > 0 && left == borrowed_ && !is_released_early_.exchange(true)) {
    fault("an object of " + is_a_->name + " is released while a command buffer uses it");
  }
  if (left > 0) return;
  {
    const std::lock_guard lock(runtime().mutex);
    runtime().live.erase(this);
    runtime().gone[this] = is_a_;
  }
  delete this;
}

Object* Object::retain_self() {
  retain();
  return this;
}

Object* Object::autorelease_self() { return autorelease(this); }

bool Object::responds_to(SEL selector) const { return find(is_a_, reinterpret_cast<const char*>(selector)) != nullptr; }

void* Object::operator new(size_t bytes) { return std::malloc(bytes); }

void Object::operator delete(void* memory) {
  const std::lock_guard lock(runtime().mutex);
  runtime().unused.push_back(memory);
  if (runtime().unused.size() <= kUnused) return;
  runtime().gone.erase(runtime().unused.front());
  std::free(runtime().unused.front());
  runtime().unused.pop_front();
}

ClassObject::ClassObject(std::string class_name, const ClassObject* meta) : Object(meta), name(std::move(class_name)) {}

void keep_forever(Object* object) {
  const std::lock_guard lock(runtime().mutex);
  runtime().live.erase(object);
}

Object* autorelease(Object* object) {
  if (!object) return nullptr;
  if (pools.empty()) {
    fault("autorelease of an object of " + object->is_a()->name + " without a pool: it is never released");
  } else {
    autoreleased_objects.push_back({pools.back(), object});
  }
  return object;
}

AutoreleasePool::AutoreleasePool() : Object("NSAutoreleasePool") { pools.push_back(this); }

AutoreleasePool::~AutoreleasePool() {
  if (pools.empty() || pools.back() != this) {
    fault("an NSAutoreleasePool is released that is not the innermost of its thread");
    std::erase(pools, this);
    return;
  }
  while (!autoreleased_objects.empty() && autoreleased_objects.back().first == this) {
    Object* object = autoreleased_objects.back().second;
    autoreleased_objects.pop_back();
    object->release();
  }
  pools.pop_back();
}

// The function of a message. The receiver may be no object any more.
extern "C" __attribute__((used)) Method fake_metal_method(Object* self, const char* selector) {
  if (!self) return reinterpret_cast<Method>(&nothing);
  const ClassObject* is_a;
  {
    const std::lock_guard lock(runtime().mutex);
    const auto gone = runtime().gone.find(self);
    if (gone != runtime().gone.end() && !runtime().live.contains(self)) {
      fault(std::string(selector) + " is sent to an object of " + gone->second->name + " that is gone");
      return reinterpret_cast<Method>(&nothing);
    }
    is_a = self->is_a();
  }
  if (const Method* method = find(is_a, selector)) return *method;
  std::fprintf(stderr, "fake Metal: %s has no method %s\n", is_a->name.c_str(), selector);
  std::abort();
}

}  // namespace fake_metal

using fake_metal::Object;

extern "C" {

Class objc_lookUpClass(const char* name) { return reinterpret_cast<Class>(fake_metal::class_named(name)); }

Protocol* objc_getProtocol(const char*) { return nullptr; }

SEL sel_registerName(const char* name) {
  const std::lock_guard lock(fake_metal::runtime().mutex);
  return reinterpret_cast<SEL>(fake_metal::runtime().selectors.insert(name).first->c_str());
}

}  // extern "C"

// Keep the arguments, ask for the method, and go on there. The stret variant has the place of the result before self.
#define SAVE_ARGUMENTS        \
  "pushq %rbp\n"              \
  "movq %rsp, %rbp\n"         \
  "subq $176, %rsp\n"         \
  "movq %rdi, (%rsp)\n"       \
  "movq %rsi, 8(%rsp)\n"      \
  "movq %rdx, 16(%rsp)\n"     \
  "movq %rcx, 24(%rsp)\n"     \
  "movq %r8, 32(%rsp)\n"      \
  "movq %r9, 40(%rsp)\n"      \
  "movaps %xmm0, 48(%rsp)\n"  \
  "movaps %xmm1, 64(%rsp)\n"  \
  "movaps %xmm2, 80(%rsp)\n"  \
  "movaps %xmm3, 96(%rsp)\n"  \
  "movaps %xmm4, 112(%rsp)\n" \
  "movaps %xmm5, 128(%rsp)\n" \
  "movaps %xmm6, 144(%rsp)\n" \
  "movaps %xmm7, 160(%rsp)\n"
#define GO_ON                 \
  "call fake_metal_method\n"  \
  "movq %rax, %r11\n"         \
  "movq (%rsp), %rdi\n"       \
  "movq 8(%rsp), %rsi\n"      \
  "movq 16(%rsp), %rdx\n"     \
  "movq 24(%rsp), %rcx\n"     \
  "movq 32(%rsp), %r8\n"      \
  "movq 40(%rsp), %r9\n"      \
  "movaps 48(%rsp), %xmm0\n"  \
  "movaps 64(%rsp), %xmm1\n"  \
  "movaps 80(%rsp), %xmm2\n"  \
  "movaps 96(%rsp), %xmm3\n"  \
  "movaps 112(%rsp), %xmm4\n" \
  "movaps 128(%rsp), %xmm5\n" \
  "movaps 144(%rsp), %xmm6\n" \
  "movaps 160(%rsp), %xmm7\n" \
  "leave\n"                   \
  "jmp *%r11\n"
asm(".text\n"
    ".p2align 4\n"
    ".globl objc_msgSend, objc_msgSend_fpret, objc_msgSend_stret\n"
    ".type objc_msgSend, @function\n"
    ".type objc_msgSend_fpret, @function\n"
    ".type objc_msgSend_stret, @function\n"
    "objc_msgSend:\n"
    "objc_msgSend_fpret:\n" SAVE_ARGUMENTS GO_ON
    ".p2align 4\n"
    "objc_msgSend_stret:\n" SAVE_ARGUMENTS "movq %rsi, %rdi\nmovq %rdx, %rsi\n" GO_ON);
