// What a program that links tritium::tritium includes: models, the engine that runs them, sessions of language models.
#pragma once

#include "base/error.h"
#include "engine/engine.h"
#include "engine/engine_builder.h"
#include "engine/sample_stream.h"
#include "engine/sampler.h"
#include "engine/session.h"
#include "model/model.h"
#include "model/model_cache.h"
#include "model/model_file.h"
#include "model/model_loader.h"
#include "model/network_builder.h"
