// The classes of Foundation that Metal's interface uses.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime.h"

namespace fake_metal {

class String : public Object {
 public:
  explicit String(std::string_view text = {}) : Object("NSString"), text_(text) {}

  const std::string& text() const { return text_; }

  Object* init_with(String* other);
  Object* init_with_c_string(const char* text, unsigned long encoding);
  const char* utf8() const { return text_.c_str(); }
  const char* c_string(unsigned long) const { return text_.c_str(); }
  unsigned long length() const { return text_.size(); }  // of ASCII
  unsigned long bytes(unsigned long) const { return text_.size(); }
  bool equals(String* other) const { return other && text_ == other->text_; }

 private:
  std::string text_;
};

class Array : public Object {
 public:
  explicit Array(std::vector<Ref<Object>> objects = {}) : Object("NSArray"), objects_(std::move(objects)) {}

  unsigned long count() const { return objects_.size(); }
  Object* at(unsigned long index) const;

 private:
  std::vector<Ref<Object>> objects_;
};

// Of one entry, whose key is an NSString, or of none.
class Dictionary : public Object {
 public:
  Dictionary() : Object("NSDictionary") {}
  Dictionary(Object* object, String* key) : Object("NSDictionary"), key_(key), object_(object) {}

  unsigned long count() const { return object_ ? 1 : 0; }
  Object* at(String* key) const { return object_ && key_->equals(key) ? object_.get() : nullptr; }

 private:
  Ref<String> key_;
  Ref<Object> object_;
};

class Error : public Object {
 public:
  Error(std::string_view domain, long code, std::string_view description, Dictionary* user_info = nullptr);

  long code() const { return code_; }
  Object* domain() const { return domain_.get(); }
  Object* user_info() const { return user_info_.get(); }
  Object* description() const { return description_.get(); }
  const std::string& text() const { return description_->text(); }

 private:
  Ref<String> domain_, description_;
  Ref<Dictionary> user_info_;
  long code_;
};

class Url : public Object {
 public:
  explicit Url(String* path = nullptr) : Object("NSURL"), path_(path) {}

  Object* init_file(String* path);
  const char* path() const { return path_ ? path_->utf8() : ""; }

 private:
  Ref<String> path_;
};

// dispatch_data_t
class Data : public Object {
 public:
  explicit Data(std::string_view bytes) : Object("OS_dispatch_data"), bytes(bytes) {}

  const std::string bytes;
};

}  // namespace fake_metal
