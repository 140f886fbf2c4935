#include "foundation.h"

#include <dispatch/dispatch.h>

#include <Foundation/Foundation.hpp>

#include "fake_metal.h"

namespace fake_metal {

Object* String::init_with(String* other) {
  text_ = other->text_;
  return this;
}

Object* String::init_with_c_string(const char* text, unsigned long) {
  text_ = text;
  return this;
}

Object* Array::at(unsigned long index) const {
  if (index < objects_.size()) return objects_[index].get();
  fault("object " + std::to_string(index) + " is asked of an NSArray of " + std::to_string(objects_.size()));
  return nullptr;
}

Error::Error(std::string_view domain, long code, std::string_view description, Dictionary* user_info)
    : Object("NSError"),
      domain_(Ref<String>::of_new(new String(domain))),
      description_(Ref<String>::of_new(new String(description))),
      user_info_(user_info ? Ref<Dictionary>(user_info) : Ref<Dictionary>::of_new(new Dictionary)),
      code_(code) {}

Object* Url::init_file(String* path) {
  path_ = Ref<String>(path);
  return this;
}

namespace {

Object* new_string() { return autoreleased(new String); }
Object* string_with(String* text) { return autoreleased(new String(text->text())); }
Object* string_with_c_string(const char* text, unsigned long) { return autoreleased(new String(text)); }

Object* array_with(Object* const* objects, unsigned long count) {
  std::vector<Ref<Object>> kept;
  for (unsigned long i = 0; i < count; ++i) kept.emplace_back(objects[i]);
  return autoreleased(new Array(std::move(kept)));
}
Object* array_with_one(Object* object) { return array_with(&object, 1); }

struct ProcessInfo : Object {
  ProcessInfo() : Object("NSProcessInfo") {}

  bool is_at_least(NS::OperatingSystemVersion version) const {
    return settings().macos_version >= version.majorVersion;
  }
};
Object* process_info() { return autoreleased(new ProcessInfo); }

Object* file_url(String* path) { return autoreleased(new Url(path)); }

}  // namespace

void add_foundation(MethodTable& table) {
  table["NSObject"].of_instances = {
      {"retain", kMethod<&Object::retain_self>},
      {"release", kMethod<&Object::release>},
      {"autorelease", kMethod<&Object::autorelease_self>},
      {"init", kMethod<&Object::init>},
      {"retainCount", kMethod<&Object::references>},
      {"isEqual:", kMethod<&Object::is_equal>},
      {"respondsToSelector:", kMethod<&Object::responds_to>},
      {"methodSignatureForSelector:", kMethod<&Object::signature>},
  };
  table["NSAutoreleasePool"] = {
      {{"alloc", kMethod<&allocate<AutoreleasePool>>}},
      {{"drain", kMethod<&AutoreleasePool::drain>}},
  };
  table["NSString"] = {
      {
          {"alloc", kMethod<&allocate<String>>},
          {"string", kMethod<&new_string>},
          {"stringWithString:", kMethod<&string_with>},
          {"stringWithCString:encoding:", kMethod<&string_with_c_string>},
      },
      {
          {"initWithString:", kMethod<&String::init_with>},
          {"initWithCString:encoding:", kMethod<&String::init_with_c_string>},
          {"UTF8String", kMethod<&String::utf8>},
          {"fileSystemRepresentation", kMethod<&String::utf8>},
          {"cStringUsingEncoding:", kMethod<&String::c_string>},
          {"length", kMethod<&String::length>},
          {"lengthOfBytesUsingEncoding:", kMethod<&String::bytes>},
          {"isEqualToString:", kMethod<&String::equals>},
      },
  };
  table["NSArray"] = {
      {
          {"arrayWithObject:", kMethod<&array_with_one>},
          {"arrayWithObjects:count:", kMethod<&array_with>},
      },
      {
          {"count", kMethod<&Array::count>},
          {"objectAtIndex:", kMethod<&Array::at>},
      },
  };
  table["NSDictionary"].of_instances = {
      {"count", kMethod<&Dictionary::count>},
      {"objectForKey:", kMethod<&Dictionary::at>},
  };
  table["NSError"].of_instances = {
      {"code", kMethod<&Error::code>},
      {"domain", kMethod<&Error::domain>},
      {"userInfo", kMethod<&Error::user_info>},
      {"localizedDescription", kMethod<&Error::description>},
  };
  table["NSProcessInfo"] = {
      {{"processInfo", kMethod<&process_info>}},
      {{"isOperatingSystemAtLeastVersion:", kMethod<&ProcessInfo::is_at_least>}},
  };
  table["NSURL"] = {
      {
          {"alloc", kMethod<&allocate<Url>>},
          {"fileURLWithPath:", kMethod<&file_url>},
      },
      {
          {"initFileURLWithPath:", kMethod<&Url::init_file>},
          {"fileSystemRepresentation", kMethod<&Url::path>},
      },
  };
}

}  // namespace fake_metal

extern "C" {

dispatch_data_t dispatch_data_create(const void* bytes, size_t size, dispatch_queue_t, dispatch_block_t) {
  return reinterpret_cast<dispatch_data_t>(new fake_metal::Data({static_cast<const char*>(bytes), size}));
}

void dispatch_release(dispatch_data_t data) { reinterpret_cast<fake_metal::Data*>(data)->release(); }

}  // extern "C"
