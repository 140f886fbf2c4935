#include "model/gguf.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <span>

#include "base/error.h"

namespace tritium {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF files are little-endian");

constexpr uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr uint32_t kVersion = 3;
constexpr uint32_t kAlignment = 64;  // bytes, of tensors in files that are written; a cache line, an AVX-512 vector
constexpr uint32_t kDefaultAlignment = 32;
constexpr uint32_t kLargestAlignment = 1 << 16;
constexpr uint64_t kMaxHeader = uint64_t{1} << 27;  // bytes
constexpr uint64_t kMaxKey = 65535;                 // bytes, by the format
constexpr uint64_t kMaxName = 1024;                 // bytes of a tensor's name
constexpr uint32_t kMaxDimensions = 4;
// The fewest bytes of an entry: lengths, one letter, types and numbers.
constexpr uint64_t kSmallestValue = 8 + 1 + 4 + 1;
constexpr uint64_t kSmallestTensor = 8 + 1 + 4 + 8 + 4 + 8;
constexpr const char* kAlignmentKey = "general.alignment";

constexpr uint32_t kStringType = 8;
constexpr uint32_t kArrayType = 9;

// Of the alternatives of GgufValue, in their order.
struct ValueType {
  uint32_t number;
  uint32_t element;  // of an array
  const char* name;
};
constexpr std::array<ValueType, 8> kValueTypes = {{{4, 0, "uint32"},
                                                   {10, 0, "uint64"},
                                                   {12, 0, "float64"},
                                                   {7, 0, "bool"},
                                                   {kStringType, 0, "string"},
                                                   {kArrayType, 0, "array of uint8"},
                                                   {kArrayType, 10, "array of uint64"},
                                                   {kArrayType, kStringType, "array of strings"}}};
static_assert(kValueTypes.size() == std::variant_size_v<GgufValue>);

struct TensorType {
  uint32_t number;
  DType dtype;
};
constexpr std::array<TensorType, 4> kTensorTypes = {
    {{0, DType::kF32}, {1, DType::kF16}, {30, DType::kBF16}, {24, DType::kI8}}};

uint64_t aligned(uint64_t offset, uint64_t alignment) { return (offset + alignment - 1) / alignment * alignment; }

class Reader {
 public:
  explicit Reader(std::shared_ptr<const MappedFile> file) : file_(std::move(file)), bytes_(file_->bytes()) {}

  GgufFile read() {
    check_magic();
    const uint64_t tensors = take<uint64_t>("the number of tensors");
    const uint64_t values = take<uint64_t>("the number of metadata values");
    check_count(values, kSmallestValue, "metadata values");
    check_count(tensors, kSmallestTensor, "tensors");
    GgufFile result{file_, {}, {}};
    for (uint64_t i = 0; i < values; ++i) read_value(result.metadata);
    const uint64_t alignment = this->alignment(result.metadata);
    std::set<std::string> names;
    uint64_t end = 0;  // of the tensors so far, from the first one's place
    for (uint64_t i = 0; i < tensors; ++i) {
      result.tensors.push_back(read_tensor(end, alignment));
      const StoredTensor& tensor = result.tensors.back();
      if (!names.insert(tensor.name).second) throw error(concat("tensor '", tensor.name, "' is given twice"));
      end = aligned(tensor.offset + tensor.bytes, alignment);
    }
    const uint64_t start = aligned(at_, alignment);
    if (bytes_.size() < start || bytes_.size() - start != end) {
      throw error(concat("the file should end after ", start + end, " bytes and has ", bytes_.size(),
                         bytes_.size() < start + end ? "; if it was cut short, copy or save it again" : ""));
    }
    for (StoredTensor& tensor : result.tensors) tensor.offset += start;
    return result;
  }

 private:
  ModelLoadError error(const std::string& what) const {
    return ModelLoadError(concat("[gguf] '", path_text(file_->path()), "': ", what));
  }

  void check_magic() {
    if (bytes_.size() < 4 || std::memcmp(bytes_.data(), "GGUF", 4) != 0) {
      throw error("not a GGUF file: it does not begin with the 4 bytes 'GGUF'");
    }
    at_ = 4;
    const uint32_t version = take<uint32_t>("the version");
    if (version != kVersion) throw error(concat("GGUF version ", version, ", only version ", kVersion, " is read"));
  }

  void check_count(uint64_t count, uint64_t smallest, const char* what) const {
    if (count <= (bytes_.size() - at_) / smallest) return;
    throw error(concat(count, " ", what, " cannot lie in the ", bytes_.size() - at_, " bytes that follow; each takes ",
                       smallest, " at least"));
  }

  std::span<const std::byte> take_bytes(uint64_t count, const std::string& what) {
    const uint64_t left = bytes_.size() - at_;
    if (count > left) throw error(concat(what, " needs ", count, " bytes from byte ", at_, ", ", left, " are left"));
    if (count > kMaxHeader - std::min(kMaxHeader, at_)) {
      throw error(concat(what, " ends ", count, " bytes after byte ", at_, "; metadata may have ", kMaxHeader));
    }
    at_ += count;
    return bytes_.subspan(static_cast<size_t>(at_ - count), static_cast<size_t>(count));
  }

  template <class T>
  T take(const std::string& what) {
    T value;
    std::memcpy(&value, take_bytes(sizeof value, what).data(), sizeof value);
    return value;
  }

  std::string take_string(const std::string& what) {
    const std::span<const std::byte> bytes = take_bytes(take<uint64_t>(what), what);
    std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (!is_utf8(text)) throw error(concat(what, " is not UTF-8"));
    return text;
  }

  std::string take_name(uint64_t longest, const char* what) {
    const uint64_t place = at_;
    const uint64_t length = take<uint64_t>(what);
    if (length < 1 || length > longest) {
      throw error(concat(what, " at byte ", place, " has ", length, " bytes; they must be 1 to ", longest));
    }
    at_ = place;
    return take_string(what);
  }

  template <class T>
  std::vector<T> take_array(uint64_t count, const std::string& what) {
    const uint64_t smallest = std::is_same_v<T, std::string> ? 8 : sizeof(T);
    if (count > (bytes_.size() - at_) / smallest) {
      throw error(concat(what, " has ", count, " elements; the ", bytes_.size() - at_, " bytes that are left hold ",
                         (bytes_.size() - at_) / smallest, " at most"));
    }
    std::vector<T> values;
    if constexpr (std::is_same_v<T, std::string>) {
      for (uint64_t i = 0; i < count; ++i) values.push_back(take_string(what));
    } else {
      const std::span<const std::byte> bytes = take_bytes(count * sizeof(T), what);
      values.resize(static_cast<size_t>(count));
      if (count > 0) std::memcpy(values.data(), bytes.data(), bytes.size());
    }
    return values;
  }

  void read_value(GgufMetadata& metadata) {
    const std::string key = take_name(kMaxKey, "a key");
    const std::string what = concat("the value of '", key.substr(0, kMaxName), "'");
    const uint32_t type = take<uint32_t>(what);
    const uint32_t element = type == kArrayType ? take<uint32_t>(what) : 0;
    const auto found = std::find_if(kValueTypes.begin(), kValueTypes.end(), [&](const ValueType& known) {
      return known.number == type && known.element == element;
    });
    if (found == kValueTypes.end()) {
      throw error(type == kArrayType
                      ? concat(what, " is an array of type ", element, "; known are arrays of types 0, 8, 10")
                      : concat(what, " is of type ", type, "; known are types 4, 7, 8, 9, 10, 12"));
    }
    GgufValue value = take_value(static_cast<size_t>(found - kValueTypes.begin()), what);
    if (!metadata.emplace(key, std::move(value)).second) throw error(concat(what, " is given twice"));
  }

  GgufValue take_value(size_t type, const std::string& what) {
    switch (type) {
      case 0:
        return take<uint32_t>(what);
      case 1:
        return take<uint64_t>(what);
      case 2:
        return take<double>(what);
      case 3: {
        const uint8_t value = take<uint8_t>(what);
        if (value > 1) throw error(concat(what, " is a bool of ", int{value}, "; it must be 0 or 1"));
        return value == 1;
      }
      case 4:
        return take_string(what);
      case 5:
        return take_array<uint8_t>(take<uint64_t>(what), what);
      case 6:
        return take_array<uint64_t>(take<uint64_t>(what), what);
      default:
        return take_array<std::string>(take<uint64_t>(what), what);
    }
  }

  uint64_t alignment(const GgufMetadata& metadata) const {
    if (!metadata.count(kAlignmentKey)) return kDefaultAlignment;
    const uint32_t alignment = GgufFields(metadata, path_text(file_->path())).get<uint32_t>(kAlignmentKey);
    if (!std::has_single_bit(alignment) || alignment < 8 || alignment > kLargestAlignment) {
      throw error(
          concat("general.alignment is ", alignment, "; it must be a power of two from 8 to ", kLargestAlignment));
    }
    return alignment;
  }

  // Its offset is that from the first tensor's place.
  StoredTensor read_tensor(uint64_t place, uint64_t alignment) {
    StoredTensor tensor;
    tensor.file = file_;
    tensor.name = take_name(kMaxName, "the name of a tensor");
    const std::string what = concat("tensor '", tensor.name, "'");
    const uint32_t dimensions = take<uint32_t>(what);
    if (dimensions < 1 || dimensions > kMaxDimensions) {
      throw error(concat(what, " has ", dimensions, " dimensions; they must be 1 to ", kMaxDimensions));
    }
    std::vector<uint64_t> sizes(dimensions);  // the innermost one first
    for (uint64_t& size : sizes) size = take<uint64_t>(what);
    const uint32_t type = take<uint32_t>(what);
    const auto known = std::find_if(kTensorTypes.begin(), kTensorTypes.end(),
                                    [&](const TensorType& each) { return each.number == type; });
    if (known == kTensorTypes.end()) {
      throw error(concat(what, " is of type ", type, "; known are 0 (F32), 1 (F16), 24 (I8), 30 (BF16)"));
    }
    tensor.dtype = known->dtype;
    tensor.bytes = dtype_size(tensor.dtype);
    for (uint64_t size : sizes) {
      if (size < 1 || tensor.bytes > bytes_.size() / size) {
        throw error(concat(what, " has a dimension of ", size, "; it must be at least 1, and all of the tensor lie in ",
                           "a file of ", bytes_.size(), " bytes"));
      }
      tensor.bytes *= size;
      tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
    }
    tensor.offset = take<uint64_t>(what);
    if (tensor.offset != place) {
      throw error(concat(what, " lies at ", tensor.offset, "; it must follow the one before it, at ", place,
                         " with an alignment of ", alignment));
    }
    return tensor;
  }

  std::shared_ptr<const MappedFile> file_;
  std::span<const std::byte> bytes_;
  uint64_t at_ = 0;
};

class Writer {
 public:
  explicit Writer(const std::filesystem::path& path) : path_(path) {}

  void write(const GgufMetadata& metadata, const std::vector<StoredTensor>& tensors) {
    GgufMetadata values = metadata;
    values[kAlignmentKey] = kAlignment;
    put(kMagic);
    put(kVersion);
    put(uint64_t{tensors.size()});
    put(uint64_t{values.size()});
    for (const auto& [key, value] : values) put_value(key, value);
    uint64_t offset = 0;
    for (const StoredTensor& tensor : tensors) {
      put_tensor(tensor, offset);
      offset = aligned(offset + tensor.bytes, kAlignment);
    }
    if (header_.size() > kMaxHeader) {
      throw error(concat("metadata of ", header_.size(), " bytes; it may have ", kMaxHeader));
    }
    NewFile file(path_, FileReaders::kAll);
    pad(file, header_.size(), std::as_bytes(std::span(header_)));
    for (const StoredTensor& tensor : tensors) {
      pad(file, tensor.bytes, {tensor.data(), static_cast<size_t>(tensor.bytes)});
      tensor.file->drop(tensor.offset, tensor.bytes);
    }
    file.sync();
    file.publish();
  }

 private:
  ModelLoadError error(const std::string& what) const {
    return ModelLoadError(concat("[gguf] '", path_text(path_), "' cannot be written: ", what));
  }

  template <class T>
  void put(T value) {
    const char* bytes = reinterpret_cast<const char*>(&value);
    header_.append(bytes, sizeof value);
  }

  void put_string(const std::string& text) {
    if (!is_utf8(text)) throw error(concat("a text of ", text.size(), " bytes is not UTF-8"));
    put(uint64_t{text.size()});
    header_ += text;
  }

  void put_name(const std::string& name, uint64_t longest, const char* what) {
    if (name.empty() || name.size() > longest) {
      throw error(
          concat(what, " '", name.substr(0, longest), "' has ", name.size(), " bytes; they must be 1 to ", longest));
    }
    put_string(name);
  }

  void put_value(const std::string& key, const GgufValue& value) {
    put_name(key, kMaxKey, "the key");
    const ValueType& type = kValueTypes[value.index()];
    put(type.number);
    std::visit(
        [&]<class T>(const T& typed) {
          if constexpr (std::is_same_v<T, std::string>) {
            put_string(typed);
          } else if constexpr (std::is_same_v<T, bool>) {
            put(uint8_t{typed});
          } else if constexpr (std::is_arithmetic_v<T>) {
            put(typed);
          } else {
            put(type.element);
            put(uint64_t{typed.size()});
            for (const auto& element : typed) {
              if constexpr (std::is_same_v<T, std::vector<std::string>>) {
                put_string(element);
              } else {
                put(element);
              }
            }
          }
        },
        value);
  }

  void put_tensor(const StoredTensor& tensor, uint64_t offset) {
    put_name(tensor.name, kMaxName, "the name");
    if (tensor.shape.empty() || tensor.shape.size() > kMaxDimensions || tensor.bytes == 0) {
      throw error(concat(tensor.label(), " has shape ", shape_text(tensor.shape), "; 1 to ", kMaxDimensions,
                         " dimensions of at least 1 can be"));
    }
    put(static_cast<uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) put(static_cast<uint64_t>(*size));
    const DType dtype = tensor.dtype == DType::kU8 ? DType::kI8 : tensor.dtype;
    const auto type = std::find_if(kTensorTypes.begin(), kTensorTypes.end(),
                                   [&](const TensorType& each) { return each.dtype == dtype; });
    if (type == kTensorTypes.end()) throw error(concat(tensor.label(), " holds ", dtype_name(dtype)));
    put(type->number);
    put(offset);
  }

  static void pad(NewFile& file, uint64_t size, std::span<const std::byte> bytes) {
    constexpr std::array<std::byte, kAlignment> kZeros{};
    file.write(bytes);
    file.write(std::span(kZeros).first(static_cast<size_t>(aligned(size, kAlignment) - size)));
  }

  const std::filesystem::path& path_;
  std::string header_;
};

}  // namespace

GgufFile read_gguf(std::shared_ptr<const MappedFile> file) { return Reader(std::move(file)).read(); }

void write_gguf(const std::filesystem::path& path, const GgufMetadata& metadata,
                const std::vector<StoredTensor>& tensors) {
  Writer(path).write(metadata, tensors);
}

bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto byte = [&](size_t at) { return at < text.size() ? static_cast<uint8_t>(text[at]) : 0u; };
    const uint32_t first = byte(i);
    const size_t length = first < 0x80   ? 1
                          : first < 0xc2 ? 0
                          : first < 0xe0 ? 2
                          : first < 0xf0 ? 3
                          : first < 0xf5 ? 4
                                         : 0;
    if (length == 0) return false;
    for (size_t k = 1; k < length; ++k) {
      if ((byte(i + k) & 0xc0) != 0x80) return false;
    }
    // Longer spellings than need be, halves of surrogate pairs, and what lies above U+10FFFF.
    const uint32_t second = byte(i + 1);
    if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f) || (first == 0xf0 && second < 0x90) ||
        (first == 0xf4 && second > 0x8f)) {
      return false;
    }
    i += length;
  }
  return true;
}

const GgufValue& GgufFields::value(const std::string& key) {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) throw error(concat("the key ", key, " is missing"));
  used_.insert(key);
  return found->second;
}

int64_t GgufFields::size(const std::string& key) {
  const uint64_t size = get<uint64_t>(key);
  if (size > INT64_MAX) throw error(concat(key, " is ", size, "; at most ", INT64_MAX, " can be"));
  return static_cast<int64_t>(size);
}

std::vector<int64_t> GgufFields::sizes(const std::string& key) {
  const auto& stored = get<std::vector<uint64_t>>(key);
  for (uint64_t size : stored) {
    if (size > INT64_MAX) throw error(concat(key, " holds ", size, "; at most ", INT64_MAX, " can be"));
  }
  return {stored.begin(), stored.end()};
}

void GgufFields::finish(std::string_view beginning) const {
  for (const auto& [key, value] : metadata_) {
    if (key.starts_with(beginning) && !used_.count(key)) {
      throw error(concat("the key ", key.substr(0, kMaxName), " has no meaning in this file"));
    }
  }
}

ModelLoadError GgufFields::error(std::string_view what) const {
  return ModelLoadError(concat("[model file] '", path_, "': ", what));
}

ModelLoadError GgufFields::wrong_type(const std::string& key, size_t found, size_t needed) const {
  return error(
      concat(key, " is a value of type ", kValueTypes[found].name, ", ", kValueTypes[needed].name, " is needed"));
}

}  // namespace tritium
