// The parts of the extension module; each adds its classes.
#pragma once

#include <pybind11/pybind11.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>

#ifdef __GLIBCXX__
#include <cxxabi.h>
#endif

namespace tritium {
class Model;
struct PackedWeights;
}  // namespace tritium

namespace tritium::python {

// call() asks for the interpreter, itself or in the code of Python that it runs. Python before 3.14 ends a thread that
// does so while the process ends, by unwinding its stack; but destructors on the way would use the interpreter that the
// thread does not have. Such a thread waits for the end instead. Nothing in call() may own objects of Python.
template <class Call>
void enter_interpreter(Call&& call) {
#ifdef __GLIBCXX__
  try {
    call();
  } catch (const abi::__forced_unwind&) {
    for (;;) std::this_thread::sleep_for(std::chrono::hours(1));
  }
#else
  call();
#endif
}

// The interpreter is free for other threads while this lives.
class ReleasedInterpreter {
 public:
  ReleasedInterpreter() : state_(PyEval_SaveThread()) {}
  ~ReleasedInterpreter() {
    enter_interpreter([this] { PyEval_RestoreThread(state_); });
  }
  ReleasedInterpreter(const ReleasedInterpreter&) = delete;
  ReleasedInterpreter& operator=(const ReleasedInterpreter&) = delete;

 private:
  PyThreadState* state_;
};

inline std::filesystem::path path_from_utf8(const std::string& path) { return std::u8string(path.begin(), path.end()); }

// An object of Python's that threads without the interpreter share: whoever drops it last takes the interpreter for it.
template <class T>
std::shared_ptr<T> share_with_threads(std::unique_ptr<T> object) {
  return {object.release(), [](T* held) {
            if (!Py_IsInitialized()) return;
            pybind11::gil_scoped_acquire acquire;
            delete held;
          }};
}

// The weights of a model as Python gets them: as long as their arrays are used, the model must live.
struct ModelWeights {
  std::shared_ptr<const Model> model;
  std::shared_ptr<const PackedWeights> packed;
};

// function(*arguments), with the interpreter held. error_already_set if it raises.
pybind11::object call_python(const pybind11::object& function, const pybind11::tuple& arguments);

// "ValueError: 3 is odd".
std::string one_line(const pybind11::error_already_set& error);

// Throws what an exception of Python's stands for: one of ours as the same error, any other nested in a DeviceError
// that begins with `where`.
[[noreturn]] void throw_as_ours(const pybind11::error_already_set& error, const char* where);

// Python's error classes (tritium.errors) for ours.
void bind_errors(pybind11::module_& module);
void bind_model(pybind11::module_& module);
void bind_model_file(pybind11::module_& module);
void bind_network(pybind11::module_& module);
void bind_operators(pybind11::module_& module);
void bind_plan(pybind11::module_& module);
void bind_engine(pybind11::module_& module);
void bind_weights(pybind11::module_& module);
void bind_backend(pybind11::module_& module);

// As a RuntimeWarning, from any thread.
void warn(const std::string& message);

}  // namespace tritium::python

namespace tritium {
void bind_kernels(pybind11::module_& module);
}
