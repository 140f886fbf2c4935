#include "model/gguf.h"

#include <gtest/gtest.h>

#include "error_text.h"
#include "gguf_bytes.h"
#include "temporary_folder.h"

namespace tritium {
namespace {

std::string read_error(const GgufBytes& file) {
  return error_text<ModelLoadError>([&] { read_gguf(lend(file.bytes())); });
}

StoredTensor tensor_of(const std::string& name, DType dtype, Shape shape, const std::string& bytes) {
  StoredTensor tensor{.name = name, .dtype = dtype, .shape = std::move(shape), .file = lend(bytes)};
  tensor.bytes = bytes.size();
  return tensor;
}

std::string content(const StoredTensor& tensor) {
  return {reinterpret_cast<const char*>(tensor.data()), static_cast<size_t>(tensor.bytes)};
}

TEST(Gguf, ReadsWhatItWrote) {
  const TemporaryFolder folder;
  const GgufMetadata metadata = {
      {"a", uint32_t{7}},
      {"b", uint64_t{1} << 63},
      {"c", 0.1},
      {"d", true},
      {"e", std::string("gr\xc3\xbc\xc3\x9f\x65\0x", 9)},
      {"f", std::vector<uint8_t>{0, 255}},
      {"g", std::vector<uint64_t>{1, 2, 3}},
      {"h", std::vector<std::string>{"", "two"}},
      {"i", std::vector<std::string>{}},
  };
  const std::vector<StoredTensor> tensors = {tensor_of("floats", DType::kF32, {3, 2}, std::string(24, 'f')),
                                             tensor_of("halves", DType::kF16, {2, 1, 1, 3}, std::string(12, 'h')),
                                             tensor_of("brains", DType::kBF16, {65}, std::string(130, 'b')),
                                             tensor_of("codes", DType::kU8, {5}, "12345"),
                                             tensor_of("trits", DType::kI8, {1, 2}, "ab")};
  write_gguf(folder / "x.gguf", metadata, tensors);
  const GgufFile file = read_gguf(MappedFile::open(folder / "x.gguf"));
  GgufMetadata expected = metadata;
  expected["general.alignment"] = uint32_t{64};
  EXPECT_EQ(file.metadata, expected);
  ASSERT_EQ(file.tensors.size(), tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    const StoredTensor& tensor = file.tensors[i];
    EXPECT_EQ(tensor.name, tensors[i].name);
    EXPECT_EQ(tensor.dtype, tensors[i].dtype == DType::kU8 ? DType::kI8 : tensors[i].dtype);
    EXPECT_EQ(tensor.shape, tensors[i].shape);
    EXPECT_EQ(content(tensor), content(tensors[i]));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor.data()) % 64, 0u) << tensor.name;
    EXPECT_EQ(tensor.file, file.file);
  }
}

TEST(Gguf, HasTheLayoutOfTheFormat) {
  const TemporaryFolder folder;
  write_gguf(folder / "x.gguf", {{"k", std::string("value")}}, {tensor_of("t", DType::kI8, {2, 3}, "abcdef")});
  GgufBytes expected(1, 2);
  expected.key("general.alignment", 4).put(uint32_t{64}).key("k", 8).text("value").tensor("t", {3, 2}, 24, 0).pad(64);
  EXPECT_EQ(read_bytes(folder / "x.gguf"), expected.bytes() + "abcdef" + std::string(58, '\0'));
}

TEST(Gguf, TakesTheFormatsOwnAlignmentWithoutTheKey) {
  GgufBytes bytes(2, 0);
  bytes.tensor("a", {3}, 24, 0).tensor("b", {32}, 24, 32).pad(32, 64);
  const GgufFile file = read_gguf(lend(bytes.bytes()));
  EXPECT_EQ(file.tensors[1].offset, bytes.bytes().size() - 32);
}

TEST(Gguf, EveryTruncationIsAnError) {
  const TemporaryFolder folder;
  write_gguf(folder / "x.gguf",
             {{"a", uint64_t{1}}, {"b", std::string("text")}, {"c", std::vector<std::string>{"x", "y"}}, {"d", true}},
             {tensor_of("t", DType::kF32, {2, 3}, std::string(24, 't')), tensor_of("u", DType::kI8, {1}, "u")});
  const std::string whole = read_bytes(folder / "x.gguf");
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_THROW(read_gguf(lend(whole.substr(0, size))), ModelLoadError) << size;
  }
  EXPECT_TRUE(contains(error_text<ModelLoadError>([&] { read_gguf(lend(whole + "x")); }),
                       concat("the file should end after ", whole.size(), " bytes and has ", whole.size() + 1)));
  EXPECT_TRUE(contains(error_text<ModelLoadError>([&] { read_gguf(lend(whole.substr(0, whole.size() - 1))); }),
                       concat("the file should end after ", whole.size(), " bytes and has ", whole.size() - 1)));
}

TEST(Gguf, RefusesOtherFilesAndVersions) {
  EXPECT_TRUE(contains(error_text<ModelLoadError>([] { read_gguf(lend("")); }),
                       "[gguf] 'x.gguf': not a GGUF file: it does not begin with the 4 bytes 'GGUF'"));
  EXPECT_TRUE(contains(error_text<ModelLoadError>([] { read_gguf(lend("{\"a\": 1} and more text")); }), "not a GGUF"));
  EXPECT_TRUE(contains(read_error(GgufBytes(0, 0, 2)), "GGUF version 2, only version 3 is read"));
  EXPECT_TRUE(contains(read_error(GgufBytes(0, 0, 0x03000000)), "GGUF version 50331648"));
}

TEST(Gguf, RefusesCountsAndLengthsThatTheFileCannotHold) {
  for (uint64_t huge : {uint64_t{2}, uint64_t{1} << 32, UINT64_MAX / 8 + 1, UINT64_MAX}) {
    EXPECT_TRUE(contains(read_error(GgufBytes(0, huge)), concat(huge, " metadata values cannot lie in the 0 bytes")));
    EXPECT_TRUE(contains(read_error(GgufBytes(huge, 0)), concat(huge, " tensors cannot lie in the 0 bytes")));
    GgufBytes text(0, 1);
    text.key("k", 8).put(huge);
    EXPECT_TRUE(contains(read_error(text), concat("'k' needs ", huge, " bytes from byte 45, 0 are left")));
    GgufBytes key(0, 1);
    key.put(huge << 16).put(uint32_t{8}).put(uint64_t{0});
    EXPECT_TRUE(contains(read_error(key), concat("a key at byte 24 has ", huge << 16, " bytes; they must be 1 to")));
    for (uint32_t element : {0u, 8u, 10u}) {
      GgufBytes array(0, 1);
      array.key("k", 9).put(element).put(huge);
      EXPECT_TRUE(contains(read_error(array), concat("'k' has ", huge, " elements; the 0 bytes that are left hold 0")));
    }
    GgufBytes dimension(1, 0);
    dimension.tensor("t", {8, huge << 7, 8}, 0, 0).pad(32, 64);
    EXPECT_TRUE(contains(read_error(dimension), "tensor 't' has a dimension of "));
  }
  GgufBytes wraps(1, 0);  // the product is 0 in 64 bits
  wraps.tensor("t", {uint64_t{1} << 32, uint64_t{1} << 32}, 24, 0).pad(32, 64);
  EXPECT_TRUE(contains(read_error(wraps), "tensor 't' has a dimension of 4294967296"));
}

TEST(Gguf, RefusesWhatItDoesNotWrite) {
  const auto with_value = [](uint32_t type, auto value) {
    GgufBytes bytes(0, 1);
    bytes.key("k", type).put(value);
    return read_error(bytes);
  };
  EXPECT_TRUE(contains(with_value(13, uint64_t{0}), "'k' is of type 13; known are types 4, 7, 8, 9, 10, 12"));
  EXPECT_TRUE(contains(with_value(7, uint8_t{2}), "'k' is a bool of 2; it must be 0 or 1"));
  GgufBytes nested(0, 1);
  nested.key("k", 9).put(uint32_t{9}).put(uint64_t{1});
  EXPECT_TRUE(contains(read_error(nested), "'k' is an array of type 9; known are arrays of types 0, 8, 10"));
  GgufBytes twice(0, 2);
  twice.key("k", 7).put(uint8_t{1}).key("k", 7).put(uint8_t{1});
  EXPECT_TRUE(contains(read_error(twice), "'k' is given twice"));
  GgufBytes latin(0, 1);
  latin.key("k", 8).text("gr\xfc\xdf\x65");
  EXPECT_TRUE(contains(read_error(latin), "'k' is not UTF-8"));
  GgufBytes nameless(0, 1);
  nameless.key("", 7).put(uint8_t{1}).put(uint8_t{1});
  EXPECT_TRUE(contains(read_error(nameless), "a key at byte 24 has 0 bytes; they must be 1 to 65535"));
}

TEST(Gguf, RefusesTensorsThatCannotBe) {
  const auto with_tensor = [](const std::vector<uint64_t>& sizes, uint32_t type, uint64_t offset) {
    GgufBytes bytes(1, 0);
    bytes.tensor("t", sizes, type, offset).pad(32, 256);
    return read_error(bytes);
  };
  EXPECT_TRUE(contains(with_tensor({}, 0, 0), "tensor 't' has 0 dimensions; they must be 1 to 4"));
  EXPECT_TRUE(contains(with_tensor({1, 1, 1, 1, 1}, 0, 0), "tensor 't' has 5 dimensions; they must be 1 to 4"));
  EXPECT_TRUE(contains(with_tensor({4, 0}, 0, 0), "tensor 't' has a dimension of 0; it must be at least 1"));
  EXPECT_TRUE(contains(with_tensor({64}, 12, 0), "tensor 't' is of type 12; known are 0 (F32), 1 (F16), 24 (I8)"));
  EXPECT_TRUE(contains(with_tensor({64}, 0, 32), "tensor 't' lies at 32; it must follow the one before it, at 0"));
  EXPECT_TRUE(contains(with_tensor({64}, 0, UINT64_MAX - 31), "it must follow the one before it, at 0"));
  EXPECT_TRUE(contains(with_tensor({32}, 0, 0), "the file should end after 192 bytes and has 320"));
  GgufBytes twice(2, 0);
  twice.tensor("t", {8}, 0, 0).tensor("t", {8}, 0, 32).pad(32, 64);
  EXPECT_TRUE(contains(read_error(twice), "tensor 't' is given twice"));
  GgufBytes overlap(2, 0);
  overlap.tensor("t", {16}, 0, 0).tensor("u", {8}, 0, 32).pad(32, 128);
  EXPECT_TRUE(contains(read_error(overlap), "tensor 'u' lies at 32; it must follow the one before it, at 64"));
}

TEST(Gguf, RefusesAlignmentsThatAreNone) {
  for (uint32_t alignment : {0u, 1u, 4u, 48u, 1u << 17, UINT32_MAX}) {
    GgufBytes bytes(0, 1);
    bytes.key("general.alignment", 4).put(alignment).pad(64);
    EXPECT_TRUE(contains(read_error(bytes),
                         concat("general.alignment is ", alignment, "; it must be a power of two from 8 to 65536")));
  }
  GgufBytes text(0, 1);
  text.key("general.alignment", 8).text("32").pad(64);
  EXPECT_TRUE(contains(read_error(text), "general.alignment is a value of type string, uint32 is needed"));
}

TEST(Gguf, WritesNothingThatItWouldNotRead) {
  const TemporaryFolder folder;
  const auto write_error = [&](const GgufMetadata& metadata, const std::vector<StoredTensor>& tensors) {
    return error_text<ModelLoadError>([&] { write_gguf(folder / "x.gguf", metadata, tensors); });
  };
  EXPECT_TRUE(contains(write_error({{"", true}}, {}), "the key '' has 0 bytes"));
  EXPECT_TRUE(contains(write_error({{"k", std::string("\xff")}}, {}), "a text of 1 bytes is not UTF-8"));
  EXPECT_TRUE(contains(write_error({}, {tensor_of(std::string(1025, 'n'), DType::kI8, {1}, "x")}), "has 1025 bytes"));
  EXPECT_TRUE(contains(write_error({}, {tensor_of("t", DType::kI8, {}, "x")}), "t (x.gguf) has shape []"));
  EXPECT_TRUE(contains(write_error({}, {tensor_of("t", DType::kI32, {1}, "1234")}), "t (x.gguf) holds int32"));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Gguf, LeavesNoFileWhereNoneCanBeWritten) {
  const TemporaryFolder folder;
  EXPECT_TRUE(
      contains(error_text<ModelLoadError>([&] { write_gguf(folder / "none/x.gguf", {}, {}); }), "cannot create"));
  std::filesystem::create_directory(folder / "taken");
  EXPECT_THROW(write_gguf(folder / "taken", {}, {}), ModelLoadError);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
}

TEST(Gguf, ReplacesAFileThatIsInUse) {
  const TemporaryFolder folder;
  const auto path = folder / "x.gguf";
  write_gguf(path, {}, {tensor_of("t", DType::kI8, {6}, "abcdef")});
  const GgufFile before = read_gguf(MappedFile::open(path));
  write_gguf(path, {{"new", true}}, before.tensors);
  EXPECT_EQ(content(before.tensors[0]), "abcdef");
  const GgufFile after = read_gguf(MappedFile::open(path));
  EXPECT_EQ(content(after.tensors[0]), "abcdef");
  EXPECT_TRUE(after.metadata.count("new"));
}

TEST(Gguf, KnowsUtf8) {
  for (const char* text :
       {"", "abc", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf"}) {
    EXPECT_TRUE(is_utf8(text)) << text;
  }
  for (const char* text : {"\x80", "\xc3", "\xc0\xaf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
                           "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "a\xff"}) {
    EXPECT_FALSE(is_utf8(text)) << text;
  }
}

}  // namespace
}  // namespace tritium
