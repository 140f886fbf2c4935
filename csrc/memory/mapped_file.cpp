#include "memory/mapped_file.h"

#include <limits>

#include "base/error.h"
#include "memory/allocator.h"
#include "memory/file.h"

namespace tritium {

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path, FileAccess access) {
  File file(path);
  if (file.size() > std::numeric_limits<size_t>::max() / 2) {
    throw ModelLoadError(concat("[file] '", path_text(path), "' has ", file.size(), " bytes, more than can be mapped"));
  }
  const auto size = static_cast<size_t>(file.size());
  std::shared_ptr<MappedFile> mapped(new MappedFile);
  mapped->path_ = path;
  mapped->access_ = access;
  if (size == 0) return mapped;  // an empty file cannot be mapped
  if (access == FileAccess::kMap) {
    mapped->data_ = file.map(size);
    mapped->size_ = size;
  } else {
    auto* data = static_cast<std::byte*>(allocate_aligned(size));
    mapped->data_ = data;  // owned from here on, whatever read() does
    mapped->size_ = size;
    file.read(data, size);
  }
  return mapped;
}

MappedFile::~MappedFile() {
  if (!data_) return;
  if (access_ == FileAccess::kMap) {
    File::unmap(data_, size_);
  } else {
    free_aligned(const_cast<std::byte*>(data_), size_);
  }
}

}  // namespace tritium
