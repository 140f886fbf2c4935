// Apple's C++ headers of Metal, and what every use of them needs. metal_cpp.cpp has their definitions.
#pragma once

#include <Foundation/Foundation.hpp>
#include <Metal/Metal.hpp>
#include <string>

namespace tritium {

// Objects that Metal hands out without a reference of the caller's live until the end of the scope.
class AutoreleaseScope {
 public:
  AutoreleaseScope() : pool_(NS::AutoreleasePool::alloc()->init()) {}
  ~AutoreleaseScope() { pool_->release(); }
  AutoreleaseScope(const AutoreleaseScope&) = delete;
  AutoreleaseScope& operator=(const AutoreleaseScope&) = delete;

 private:
  NS::AutoreleasePool* pool_;
};

// Within an AutoreleaseScope.
inline NS::String* ns_string(const std::string& text) {
  return NS::String::string(text.c_str(), NS::UTF8StringEncoding);
}

inline std::string text_of(const NS::String* text) { return text ? text->utf8String() : ""; }
inline std::string text_of(const NS::Error* error) {
  return error ? text_of(error->localizedDescription()) : "no reason is given";
}

}  // namespace tritium
